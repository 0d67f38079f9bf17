cluster {
  key_file           = "cluster.key"
  insecure_plaintext = true
}
