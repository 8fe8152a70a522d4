package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millracehq/millrace/gateway/stream"
)

// ErrNotReplicated says of an entry that it is stored on the master, but that too few replicas are known to have it: a
// failover now may lose it. It is no stream.ErrDown, since Redis takes writes all the while; what was to be written is
// to be written again with the same idempotency key.
var ErrNotReplicated = errors.New("stored, but not on enough replicas")

// code is the first word of what Redis said, "" for an error that is not its answer.
func code(err error) string {
	reply, ok := errors.AsType[goredis.Error](err)
	if !ok {
		return ""
	}
	word, _, _ := strings.Cut(reply.Error(), " ")
	return word
}

// ofAll tells what Redis says of one command from what concerns them all: a broken connection, or a server that takes no
// commands now, or none of this user.
func ofAll(err error) bool {
	switch code(err) {
	case "", "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "WRONGPASS", "NOPERM", "OOM", "MISCONF", "NOREPLICAS":
		return true
	}
	return strings.Contains(err.Error(), clusterOff)
}

// classify wraps stream.ErrDown around errors of all. part says that the error is of one server of a Cluster, and that it
// is [stream.ErrPartDown], unless that server says that the whole Cluster is down.
func (c *Client) classify(err error, part bool) error {
	if err == nil || errors.Is(err, ErrNotReplicated) || !ofAll(err) {
		return err
	}
	if code(err) == "NOPERM" {
		err = fmt.Errorf("%w (%s)", err, c.advice(err))
	}
	if part && (code(err) != "CLUSTERDOWN" || strings.Contains(err.Error(), "slot not served")) {
		return fmt.Errorf("%w: %w", stream.ErrPartDown, err)
	}
	return fmt.Errorf("%w: %w", stream.ErrDown, err)
}

// hopeless reports whether it is of no use to try again.
func hopeless(err error) bool {
	switch code(err) {
	case "NOAUTH", "WRONGPASS", "NOPERM", "MOVED":
		return true
	}
	return badCertificate(err) || strings.Contains(err.Error(), clusterOff)
}

const clusterOff = "cluster support disabled"

func badCertificate(err error) bool {
	_, invalid := errors.AsType[*tls.CertificateVerificationError](err)
	return invalid
}

// advice says what the operator can do about an error.
func (c *Client) advice(err error) string {
	switch code(err) {
	case "NOPERM":
		return "the user may not do this: docs/OPERATIONS.md, Redis, has the ACL rule that it needs"
	case "NOAUTH", "WRONGPASS":
		return "write user:password@ before the host, or :password@ for the default user"
	case "MOVED":
		return "it is a Cluster: write redis+cluster:// for redis://"
	case "LOADING", "MASTERDOWN", "CLUSTERDOWN":
		return "it is starting or failing over: wait, or look at its log"
	case "READONLY":
		return "it is a replica: write the master's address, or redis+sentinel:// to have it found"
	case "OOM", "MISCONF", "NOREPLICAS":
		return "it takes no writes now: mend what it says"
	}
	if badCertificate(err) {
		if _, other := errors.AsType[x509.HostnameError](err); other {
			return "its certificate is for another name: add ?server_name=NAME"
		}
		return "its certificate is not trusted: add ?ca=FILE with the certificate of the authority that has signed it"
	}
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return "it does not speak TLS on this port: write redis for rediss"
	}
	if strings.Contains(err.Error(), clusterOff) {
		return "it is no Cluster: write redis:// for redis+cluster://"
	}
	if c.server.TLSConfig != nil {
		return "is it running there, and does it speak TLS? If not, write redis for rediss"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return "it hangs up: does it want TLS? Then write rediss for redis"
	}
	return "is it running there? set --redis to its address"
}
