state {
  listen = "0.0.0.0:42424"
}

status {
  listen = "127.0.0.1:42424"
}
