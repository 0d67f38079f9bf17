node_name = "web01

state {
  listen = "127.0.0.1
  max_head = "12"
}
