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

  # How long a page may wait here for a session that another page has locked, 10ms to 5s; it goes on the
  # moment the lock is free. "none": it is told to ask again, which web servers do every half second.
  lock_wait = "500ms"
}

# The side towards other nodes. Without key_file, join and insecure_plaintext this node runs alone, and
# nothing of this is used. What each says is in docs/configuration.md.
cluster {
  # Where other nodes tell who is there, TCP and UDP: the IP address by which they reach this machine, and
  # a port. 127.0.0.1 is for several nodes on one machine.
  listen = "127.0.0.1:42425"

  # Where other nodes reach that, if it is not where this node listens: behind NAT, or when it listens on
  # 0.0.0.0 and this machine has several addresses.
  advertise = ""

  # Where other nodes ask for sessions and hand them over, TCP.
  transfer = "127.0.0.1:42426"

  # Some of the other nodes: host or host:port, as in ["10.0.0.6", "web03:42425"]. One that is up is
  # enough to find all; a name may have several addresses.
  join = []

  # The cluster's keys, the same file on every node. To make it:  statemesh keygen > cluster.key
  # A name without a folder is a file in the folder of this one.
  key_file = ""

  # Certificates of your own CA (PEM) by which nodes prove who they are, in place of ones made from the key:
  # the CA's, this node's, and its private key. The node's must name it, in small letters (node_name =
  # "Web01": DNS name "web01"), and allow both server and client authentication.
  ca_file       = ""
  cert_file     = ""
  cert_key_file = ""

  # true: no key. What nodes say to each other is not encrypted, and anybody who reaches their ports is
  # one of them.
  insecure_plaintext = false

  # Clusters that reach each other are kept apart by their names.
  name = "default"

  # How long a page may wait for other nodes to say where its session is, 100ms to 3.3s.
  query_timeout = "2s"

  # How long handing all sessions to other nodes may take when this one is stopped, 1s to 1h.
  drain_timeout = "1m"

  # How many other nodes keep a copy of each session. This version keeps none: only 0.
  backups = 0

  # How many nodes the cluster is to have, this one included, 1 to 1000, the same on all. When there are fewer,
  # because one is down or the network is split, the status page says so, and /metrics. 0: it is not known.
  expect_members = 0
}

# The store.
sessions {
  # Memory for all sessions together: a share of this machine's memory, 1% to 100%, or a size, 1MiB to
  # 64TiB, such as "8GiB". Over it new sessions are refused; those that exist go on working.
  max_memory = "75%"

  # The most requests that may wait for one session, 1 to 65536.
  max_waiting = 64

  # A folder in which a node that is stopped leaves, encrypted, the sessions that no other node takes: all
  # of them if it runs alone or is the last of its cluster. Its next start takes them from there. Each node
  # needs one of its own. "" is nowhere: then they are lost.
  snapshot_dir = ""
}

# The address for operators: the status page, /healthz, /readyz, /metrics and /api/v1.
status {
  # Where it is: host:port. Opened to other machines it should have a password and a certificate: see below.
  listen = "127.0.0.1:42480"

  # Names by which it may be asked, besides this machine's addresses, its host name and localhost: what web
  # browsers and Prometheus call it, such as "web01.example.com". "*.example.com" is every name that ends so.
  allowed_hosts = []

  # Only who shows this name and the password in this file may read. The file holds one line, and is read again
  # when it changes, as are the two below. "": everybody who can connect may. /healthz and /readyz are for
  # everybody in any case.
  username      = ""
  password_file = ""

  # A file with a token, one line, such as statemesh keygen prints. Programs that show it may read.
  token_file = ""

  # A file with another token, without which nobody may drain this node or have it read its keys again, and with
  # which one may do so from anywhere. "": whoever is on this machine may, and nobody else.
  admin_token_file = ""

  # PEM files: a certificate, with those between it and its CA, and its private key. With them it speaks HTTPS
  # only. When the files change, the new ones are used.
  cert_file = ""
  key_file  = ""

  # A session that a page keeps locked for longer than that is pointed out there, 1s to 24h. ASP.NET ends a page
  # after the executionTimeout of its web.config, 110 seconds by default: set the longest that yours allow.
  long_lock = "1m50s"
}

# What goes to the standard error stream.
log {
  # The least severe level to log: "trace", "debug", "info", "warn" or "error".
  level = "info"

  # How a line is written: "text" or "json".
  format = "text"
}
