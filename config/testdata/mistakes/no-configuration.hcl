Dear colleague,
please find below the settings of the state service.
port 42424
memory 75%
host: web01
host: web02
host: web03
host: web04
host: web05
host: web06
host: web07
host: web08
