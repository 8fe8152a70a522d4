package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/millracehq/millrace/backend/board"
)

// page is a part of a list.
type page struct {
	Items any    `json:"items"`
	Next  string `json:"next,omitempty"` // the parameter "after" for what follows; absent: this is the end
}

// limit is the parameter of that name.
func (c *call) limit(most int) (int, error) {
	text := c.r.URL.Query().Get("limit")
	if text == "" {
		return min(defaultLimit, most), nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, malformed(fmt.Sprintf("limit: %.20q is not a number from 1 to %d", text, most), "ask for a page and go on with its next")
	}
	return n, nil
}

// cursor reads the parameter "after" into v, which stays as it is if there is none.
func (c *call) cursor(v any) error {
	text := c.r.URL.Query().Get("after")
	if text == "" {
		return nil
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil || !utf8.Valid(data) || strings.Contains(string(data), `\u0000`) {
		return malformed("after is not the next of a page", "take it from next as it is, and begin without it")
	}
	return nil
}

func cursorOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic("BUG: a cursor that is no JSON: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// paged answers with the part of a list, sorted by key, that the request asks for.
func paged[T any](c *call, all []T, key func(T) string) error {
	limit, err := c.limit(maxLimit)
	if err != nil {
		return err
	}
	var after string
	if err := c.cursor(&after); err != nil {
		return err
	}
	items, next := []T{}, ""
	for _, one := range all {
		if k := key(one); k > after || after == "" {
			if len(items) == limit {
				next = cursorOf(key(items[limit-1]))
				break
			}
			items = append(items, one)
		}
	}
	return c.json(200, page{items, next})
}

// pathID is a part of the path that names something. What cannot be an ID names nothing.
func (c *call) pathID(name string) (string, error) {
	id := c.r.PathValue(name)
	if !board.ValidID(id) {
		return "", problem(404, "not-found", fmt.Sprintf("%s: %.80q is no ID", name, id), fmt.Sprintf("an ID is 1 to %d of A-Z a-z 0-9 _ -", board.MaxID))
	}
	return id, nil
}

// version is that of the header If-Match, as ETag gave it.
func (c *call) version() (int64, error) {
	text := c.r.Header.Get("If-Match")
	if text == "" {
		return 0, problem(428, "version-wanted", "there is no If-Match", "send the ETag of what you have seen in If-Match, so that nobody's change is lost")
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(text, `"`), `"`), 10, 64)
	if err != nil || n < 0 || text != etag(n) {
		return 0, malformed("If-Match is no version", `send the ETag of what you have seen, like "3"`)
	}
	return n, nil
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// checkText is for titles and names.
func checkText(name, text string) error {
	if text == "" || len(text) > board.MaxTitle || strings.ContainsRune(text, 0) {
		return malformed(fmt.Sprintf("%s has %d bytes", name, len(text)), fmt.Sprintf("1 to %d bytes, without U+0000", board.MaxTitle))
	}
	return nil
}
