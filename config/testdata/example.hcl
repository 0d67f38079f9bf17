# Every setting of statemesh with its default. Lines that begin with # are comments; a file needs to
# hold only what is to differ. To check a file:  statemesh check FILE

# The name of this node in logs and on the status address. Default: the host's name.
# node_name = "web01"

# The side towards web servers.
state {
  # Where web servers connect: host:port. With 127.0.0.1 only this machine can; "0.0.0.0:42424" is every
  # address of this machine. What web servers send is not encrypted: let the firewall admit nobody else.
  listen = "127.0.0.1:42424"

  # The X-AspNet-Version that every response carries. Web servers refuse one below 2.0.
  aspnet_version = "4.0.30319"

  # The first line of a response: "bare" is 200 OK, as Microsoft's service sends it; "http/1.1" is
  # HTTP/1.1 200 OK.
  status_line = "bare"

  # The largest head of a request, 1KiB to 1MiB.
  max_head = "16KiB"

  # The largest session, 1KiB to 2047MiB. A web application that stores a larger one gets an exception.
  max_body = "64MiB"

  # The most open connections, 1 to 1000000; "none" is as many as the system allows.
  max_connections = "none"

  # Close a connection that has asked nothing for so long, 1s to 720h; "none" is never. Web servers keep
  # connections to use them again.
  idle_timeout = "none"

  # The longest pause inside a request or an answer, 1s to 1h; after it the connection is closed.
  request_timeout = "30s"
}

# The store.
sessions {
  # Memory for all sessions together: a share of this machine's memory, 1% to 100%, or a size, 1MiB to
  # 64TiB, such as "8GiB". Over it new sessions are refused; those that exist go on working.
  max_memory = "75%"

  # The most requests that may wait for one session, 1 to 65536.
  max_waiting = 64
}

# The address for operators: /healthz, /readyz and /metrics.
status {
  listen = "127.0.0.1:42480"
}

# What goes to the standard error stream.
log {
  # The least severe level to log: "trace", "debug", "info", "warn" or "error".
  level = "info"

  # How a line is written: "text" or "json".
  format = "text"
}
