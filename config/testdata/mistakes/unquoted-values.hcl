# Units without quotes: the parser alone would report the first one only.
node_name = web01

state {
  listen       = 127.0.0.1:42424
  max_head     = 64KiB
  idle_timeout = 30s  # half a minute
}

sessions {
  max_memory  = 75%
  max_waiting = 0
}

log {
  level = info
}
