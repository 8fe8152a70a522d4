// Package contest is who is measured and how each is run: programs of their own on free ports of 127.0.0.1, with their processor
// time and memory.
//
//	Contestant ─Prepare─▶ its programs are there ─Start─▶ Stack{server, Redis, backend} ─▶ CPU, Memory ─▶ Stop
//
// Redis writes its log to disk once a second, as it does in production. The gateway has one event loop, since the limit is one.
package contest
