node_name = "web 01"

state {
  aspnet_version  = "1.1.4322"
  max_head        = "2MiB"
  max_body        = "1"
  max_connections = -1
  idle_timeout    = 0
  request_timeout = "100ms"
}

sessions {
  max_memory  = "120%"
  max_waiting = 100000
}
