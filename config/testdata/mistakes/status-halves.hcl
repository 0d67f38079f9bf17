status {
  listen           = "0.0.0.0:42480"
  username         = "operator"
  key_file         = "status.key"
  token_file       = "one.token"
  admin_token_file = "one.token"
}
