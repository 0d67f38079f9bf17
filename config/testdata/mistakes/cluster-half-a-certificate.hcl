cluster {
  key_file  = "cluster.key"
  ca_file   = "ca.pem"
  cert_file = "web01.pem"
}
