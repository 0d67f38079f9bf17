cluster {
  join     = ["10.0.0.6:0", "web03"]
  key_file = null
}

sessions {
  snapshot_dir = ["/tmp"]
}
