node_nam = "web01"
max_memory = "75%"
listen = "127.0.0.1:42424"
colour = "blue"

stat {
  listen = "127.0.0.1:42424"
}

state {
  aspnet-version = "4.0.30319"
  max_wating     = 64
  maxBody        = "1MiB"
  colour         = "blue"
}

gossip {
  join = ["10.0.0.6:42425"]
}

cluster {
  seeds   = ["10.0.0.6:42425"]
  keyfile = "cluster.key"
}

status {
  address = "127.0.0.1:42480"
}
