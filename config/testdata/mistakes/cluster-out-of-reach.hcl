cluster {
  join     = ["web02", "10.0.0.6"]
  key_file = "cluster.key"
}
