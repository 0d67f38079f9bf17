<?xml version="1.0"?>
<configuration>
  <system.web>
    <sessionState mode="StateServer"
      stateConnectionString="tcpip=host:42424" />
  </system.web>
  <a/>
  <a/>
  <a/>
  <a/>
  <a/>
</configuration>
