state {
  lock_wait = "1ms"
}

cluster {
  listen             = "web01:42425"
  advertise          = "0.0.0.0:42425"
  transfer           = "10.0.0.5"
  join               = ["10.0.0.6:42425", "http://web03:42425/"]
  key_file           = "C:\new\cluster.key"
  insecure_plaintext = "yes"
  name               = ""
  query_timeout      = "5s"
  drain_timeout      = 0
  backups            = 1
  expect_members     = -1
}
