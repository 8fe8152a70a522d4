package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
	"github.com/millracehq/millrace/backend/worker"
	"github.com/millracehq/millrace/gateway/stream"
)

// workspaceRequest is any request on a workspace's channel.
type workspaceRequest struct {
	Do      string     `json:"do"`
	Name    string     `json:"name"`    // create
	ID      string     `json:"id"`      // create_board
	Title   string     `json:"title"`   // create_board
	User    string     `json:"user"`    // set_member
	Role    store.Role `json:"role"`    // set_member; "" takes it
	Version int64      `json:"version"` // set_member: what the client knows, 0 for somebody new
}

// Workspace handles what comes on workspace:ID.
func (s *Service) Workspace(ctx context.Context, e *worker.Event) error {
	id := strings.TrimPrefix(e.Channel, WorkspaceNamespace+":")
	switch e.Kind {
	case stream.KindReq:
	case stream.KindSub:
		_, err := s.store.Members(ctx, e.User, id)
		return admit(e, err)
	default:
		return nil
	}
	var r workspaceRequest
	if err := json.Unmarshal(e.Data, &r); err != nil {
		return refuse(e, 400, "the body is not a request: "+err.Error(), nil)
	}
	if !board.ValidID(id) {
		return refuse(e, 400, fmt.Sprintf("%.80q is no ID: 1 to %d of A-Z a-z 0-9 _ -", id, board.MaxID), nil)
	}
	switch r.Do {
	case "create":
		return answer(e, struct{}{}, s.store.CreateWorkspace(ctx, e.User, id, r.Name))
	case "members":
		members, err := s.store.Members(ctx, e.User, id)
		return answer(e, members, err)
	case "boards":
		boards, err := s.store.Boards(ctx, e.User)
		return answer(e, within(boards, id), err)
	case "create_board":
		if !board.ValidID(r.ID) {
			return refuse(e, 400, fmt.Sprintf("id: %.80q is no ID", r.ID), nil)
		}
		b, err := s.store.CreateBoard(ctx, e.User, id, r.ID, r.Title)
		if errors.Is(err, store.ErrExists) {
			if now, hidden := s.store.Board(ctx, e.User, r.ID); hidden == nil {
				return refuse(e, 409, err.Error(), now)
			}
		}
		return answer(e, b, err)
	case "set_member":
		return s.setMember(ctx, e, id, store.Member{User: r.User, Role: r.Role, Version: r.Version})
	default:
		return refuse(e, 400, fmt.Sprintf("do: %.40q is not create, members, boards, create_board or set_member", r.Do), nil)
	}
}

func within(boards []store.Board, workspace string) []store.Board {
	out := []store.Board{}
	for _, b := range boards {
		if b.Workspace == workspace {
			out = append(out, b)
		}
	}
	return out
}
