node_name = "web 01"

state {
  listen: "127.0.0.1:42424"

sessions {
  max_waiting = 0
}
