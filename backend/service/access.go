package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/worker"
	"github.com/millracehq/millrace/gateway/stream"
)

// grantFor is how long gateways remember that a user may subscribe. A revoke ends it earlier.
const grantFor = time.Minute

// admit answers who asks for a subscription. The store is asked, and not a replica of it: a right that was taken is taken.
func admit(e *worker.Event, err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		e.Deny(403, "there is no such thing, or not for you")
	case err != nil:
		return fmt.Errorf("service: sub %s: %w", e.Channel, err)
	default:
		e.Grant(grantFor)
	}
	return nil
}

// Cursors handles what comes on cursor:BOARD: questions of who wants to subscribe. Clients publish there directly.
func (s *Service) Cursors(ctx context.Context, e *worker.Event) error {
	if e.Kind != stream.KindSub {
		return nil
	}
	_, err := s.store.Board(ctx, e.User, strings.TrimPrefix(e.Channel, CursorNamespace+":"))
	return admit(e, err)
}

// revoke ends a user's subscriptions to a workspace and its boards.
func revoke(e *worker.Event, workspace string, boards []store.Board, user string) {
	e.Revoke(WorkspaceNamespace+":"+workspace, user)
	for _, b := range boards {
		e.Revoke(BoardNamespace+":"+b.ID, user)
		e.Revoke(CursorNamespace+":"+b.ID, user)
	}
}

// setMember changes a role. Who has none any more loses the subscriptions to the workspace and its boards.
//
// A process may die between the commit and the revokes. The entry comes again then, to a workspace that is as it wants it to be: that is a
// success, and revokes again. Who has left by themselves cannot see any more what they have left; then all their connections are closed.
func (s *Service) setMember(ctx context.Context, e *worker.Event, id string, m store.Member) error {
	if m.User == "" || len(m.User) > maxUser || !m.Role.Valid() {
		return refuse(e, 400, "user is empty or too long, or role is not owner, editor, viewer or \"\"", nil)
	}
	boards, err := s.store.Boards(ctx, e.User) // before: an owner may be about to leave
	if err != nil {
		return fmt.Errorf("service: %s: %w", e.Channel, err)
	}
	out, err := s.store.SetMember(ctx, e.User, id, m)
	if version, ok := errors.AsType[*store.VersionError](err); ok {
		if now, _ := version.Current.(store.Member); now == (store.Member{User: m.User, Role: m.Role, Version: m.Version + 1}) {
			out, err = now, nil
		}
	}
	if m.Role == store.None {
		switch {
		case err == nil:
			revoke(e, id, within(boards, id), m.User)
		case errors.Is(err, store.ErrNotFound) && m.User == e.User && e.Attempt > 1:
			e.Kick(e.User)
		}
	}
	return answer(e, out, err)
}
