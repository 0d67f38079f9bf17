package wire_test

import (
	"fmt"

	"statemesh/wire"
)

// What a connection does: read requests from what has arrived, write answers. (The body has arrived whole here; in
// earnest it has to be waited for.)
func Example() {
	format, err := wire.NewFormat("bare", "4.0.30319")
	if err != nil {
		fmt.Println(err)
		return
	}
	arrived := []byte("" +
		"PUT %2fLM%2fW3SVC%2f1%2fROOT%2fs1 HTTP/1.1\r\nHost: localhost\r\nTimeout:20\r\nContent-Length:3\r\nExtraFlags:0\r\nLockCookie:2\r\n\r\nabc" +
		"GET %2fLM%2fW3SVC%2f1%2fROOT%2fs1 HTTP/1.1\r\nHost: localhost\r\nExclusive: acq")

	parser := wire.NewParser(wire.Limits{})
	var req wire.Request
	for {
		n, err := parser.Parse(arrived, &req)
		if err != nil {
			fmt.Println("400, close:", err)
			return
		}
		if n == 0 {
			fmt.Printf("%d bytes of the next request\n", len(arrived))
			return
		}
		body := arrived[n : n+req.ContentLength]
		fmt.Printf("%v %s %q cookie=%d timeout=%d\n", req.Op, req.Key, body, req.Cookie, req.Timeout)
		fmt.Printf("%q\n", format.Append(nil, &wire.Response{}))
		arrived = arrived[n+req.ContentLength:]
	}

	// Output:
	// set /LM/W3SVC/1/ROOT/s1 "abc" cookie=2 timeout=20
	// "200 OK\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"
	// 75 bytes of the next request
}
