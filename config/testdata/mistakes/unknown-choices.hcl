state {
  status_line = "http1.1"
}

log {
  level  = "warning"
  format = "jsno"
}

log {
  level = "loud"
}
