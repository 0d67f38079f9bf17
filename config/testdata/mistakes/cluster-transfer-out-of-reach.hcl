cluster {
  listen   = "10.0.0.5:42425"
  join     = ["web02"]
  key_file = "cluster.key"
}
