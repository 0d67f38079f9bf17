cluster {
  listen   = "127.0.0.1:42426"
  key_file = "cluster.key"
}
