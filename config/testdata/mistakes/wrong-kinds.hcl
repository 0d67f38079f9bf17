node_name = ""

state {
  aspnet_version  = 4.0
  max_head        = "75%"
  max_body        = "lots"
  max_connections = "many"
  idle_timeout    = "half an hour"
  request_timeout = 30
}

sessions {
  max_memory  = "99999999999TiB"
  max_waiting = [1, 2]
}

log {
  level  = upper("info")
  format = "${env.FORMAT}"
}
