state = "127.0.0.1:42424"

node_name {
}

log "main" {
  level = "info"

  sessions {
    max_waiting = 1
  }

  format {
  }

  colours {
  }
}

state {
  listen = "127.0.0.1:42424"
  listen = "127.0.0.1:42425"
}

state {
  max_head = "12"
}
