package api

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/millracehq/millrace/backend/board"
	"github.com/millracehq/millrace/backend/store"
)

func (a *API) workspaces(c *call) error {
	all, err := a.cfg.Store.Workspaces(c.ctx(), c.user)
	if err != nil {
		return err
	}
	return paged(c, all, func(w store.Workspace) string { return w.ID })
}

// newID checks the ID that a client has chosen, or makes one.
func newID(id string) (string, error) {
	if id == "" {
		return rand.Text(), nil
	}
	if !board.ValidID(id) {
		return "", malformed(fmt.Sprintf("id: %.80q is no ID", id), fmt.Sprintf("1 to %d of A-Z a-z 0-9 _ -, or leave it out", board.MaxID))
	}
	return id, nil
}

func (a *API) createWorkspace(c *call) error {
	var body struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	if err := c.read(&body); err != nil {
		return err
	}
	if err := checkText("name", body.Name); err != nil {
		return err
	}
	id, err := newID(body.ID)
	if err != nil {
		return err
	}
	if err := a.cfg.Store.CreateWorkspace(c.ctx(), c.user, id, body.Name); err != nil {
		return err
	}
	c.header("Location", "/v1/workspaces/"+id)
	return c.json(201, store.Workspace{ID: id, Name: body.Name, Role: store.Owner})
}

// ofWorkspace is the workspace of the path, as its user sees it.
func (a *API) ofWorkspace(c *call) (store.Workspace, error) {
	id, err := c.pathID("workspace")
	if err != nil {
		return store.Workspace{}, err
	}
	all, err := a.cfg.Store.Workspaces(c.ctx(), c.user)
	if err != nil {
		return store.Workspace{}, err
	}
	i := slices.IndexFunc(all, func(w store.Workspace) bool { return w.ID == id })
	if i < 0 {
		return store.Workspace{}, store.ErrNotFound
	}
	return all[i], nil
}

func (a *API) workspace(c *call) error {
	w, err := a.ofWorkspace(c)
	if err != nil {
		return err
	}
	return c.json(200, w)
}

func (a *API) members(c *call) error {
	id, err := c.pathID("workspace")
	if err != nil {
		return err
	}
	all, err := a.cfg.Store.Members(c.ctx(), c.user, id)
	if err != nil {
		return err
	}
	return paged(c, all, func(m store.Member) string { return m.User })
}

func (a *API) member(c *call) error {
	id, err := c.pathID("workspace")
	if err != nil {
		return err
	}
	all, err := a.cfg.Store.Members(c.ctx(), c.user, id)
	if err != nil {
		return err
	}
	user := c.r.PathValue("user")
	i := slices.IndexFunc(all, func(m store.Member) bool { return m.User == user })
	if i < 0 {
		return problem(404, "not-found", "there is no such member", `to let them in, PUT with If-None-Match: *`)
	}
	return c.one(200, all[i], all[i].Version)
}

// one answers with something that has a version.
func (c *call) one(status int, v any, version int64) error {
	c.header("ETag", etag(version))
	return c.json(status, v)
}

func (a *API) putMember(c *call) error {
	var body struct {
		Role store.Role `json:"role"`
	}
	if err := c.read(&body); err != nil {
		return err
	}
	if body.Role == store.None || !body.Role.Valid() {
		return malformed(fmt.Sprintf("role: %.20q", body.Role), "owner, editor or viewer; DELETE takes it")
	}
	return a.setMember(c, body.Role)
}

func (a *API) deleteMember(c *call) error { return a.setMember(c, store.None) }

// setMember gives a role, or takes it. Who has none any more loses the subscriptions to all boards of the workspace. When that cannot be said to
// the gateways the role is taken all the same, and the request fails, so that it is made again.
func (a *API) setMember(c *call, role store.Role) error {
	id, err := c.pathID("workspace")
	if err != nil {
		return err
	}
	m := store.Member{User: c.r.PathValue("user"), Role: role}
	if err := checkUser(m.User); err != nil {
		return err
	}
	if role == store.None || c.r.Header.Get("If-None-Match") != "*" {
		if m.Version, err = c.version(); err != nil {
			return err
		}
	}
	boards, err := a.cfg.Store.Boards(c.ctx(), c.user) // before: an owner may be about to leave
	if err != nil {
		return err
	}
	out, err := a.cfg.Store.SetMember(c.ctx(), c.user, id, m)
	if err != nil {
		return err
	}
	if role != store.None {
		return c.one(200, out, out.Version)
	}
	for _, channel := range append(channelsOf(boards, id), "workspace:"+id) {
		if err := a.cfg.Revoke(c.ctx(), channel, m.User); err != nil {
			return fmt.Errorf("revoke %s: %w", channel, err)
		}
	}
	c.header("ETag", etag(out.Version))
	c.write(204, nil)
	return nil
}

// channelsOf are those that lead to the boards of a workspace.
func channelsOf(boards []store.Board, workspace string) (out []string) {
	for _, b := range boards {
		if b.Workspace == workspace {
			out = append(out, "board:"+b.ID, "cursor:"+b.ID)
		}
	}
	return out
}

// sorted are boards by ID, of one workspace.
func sorted(boards []store.Board, workspace string) []store.Board {
	out := slices.DeleteFunc(boards, func(b store.Board) bool { return b.Workspace != workspace })
	slices.SortFunc(out, func(a, b store.Board) int { return strings.Compare(a.ID, b.ID) })
	return out
}
