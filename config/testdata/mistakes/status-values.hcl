status {
  allowed_hosts = ["web01.example.com:42480"]
  username      = "web ops"
}
