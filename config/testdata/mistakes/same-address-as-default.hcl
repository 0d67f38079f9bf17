state {
  listen = "127.0.0.1:42480"
}
