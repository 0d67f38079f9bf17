node_name = "web 01"

state
{
  listen = "127.0.0.1"
}

log
{
  level = "info"
}
