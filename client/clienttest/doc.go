// Package clienttest starts a whole cluster inside a test: one drummer and one or three
// hosts in this process, with Raft, the gRPC services and the built-in apps as they are
// everywhere, in memory unless told otherwise.
//
//	func TestOrders(t *testing.T) {
//		c := clienttest.Start(t)
//		orders := c.Client().Sequence("sequence/orders")
//		defer orders.Close()
//		id, err := orders.Next(t.Context())
//		...
//	}
//
// Groups are made when their names are first used. The cluster is ready within two seconds
// or so, and when the test has ended nothing of it is left: no goroutine, no file, no port.
//
// It is for the tests of programs that use package client. It imports the servers, which
// client itself never does; programs do not import it.
package clienttest
