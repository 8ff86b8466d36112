// Package statefile carries the state of a group, in pieces: a header, data, and a
// trailer with size and checksum. The pieces travel over gRPC between hosts, and make a
// file, which is what a backup is.
//
// # File, format version 1
//
//	8 bytes   magic "DRUMSTAT"
//	2 bytes   format version, little endian, 1
//	pieces    each a statepb.Piece behind its length, an unsigned varint
//
// A header is the first piece and a trailer the last; nothing follows. The checksum is
// SHA-256 of the header's deterministic encoding and of all data. A state that is cut
// short, changed, or goes on behind its trailer is an error of the reader, at the end at
// the latest: whoever uses the bytes reads to io.EOF first, or into something that can
// be thrown away.
package statefile
