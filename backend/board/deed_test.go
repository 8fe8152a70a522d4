package board

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestDeeds(t *testing.T) {
	b := newBed(t)
	comment := func(id, text string) Op {
		return Op{Op: OpPut, Kind: KindComment, ID: id, Values: map[string]Value{GroupCard: Text("c"), "text": Text(text)}}
	}
	react := func(present bool) Op {
		return Op{Op: OpMark, ID: "c", Set: "reaction", Element: "👍", Present: present}
	}
	for _, step := range []struct {
		client string
		back   int64
		ops    []Op
		want   string
	}{
		{"ann", 0, []Op{put(KindColumn, "more", "", "")}, ""},
		{"ann", 0, []Op{put(KindCard, "c", "todo", "")}, "created c of c"},
		{"ann", 0, []Op{set("c", "title", Text("C")), set("c", "prio", Integer(2)), set("c", "done", Bool(false))}, ""},
		{"bob", 0, []Op{set("c", "done", Bool(true))}, "completed c of c prio 2"},
		{"bob", 0, []Op{set("c", "done", Bool(true))}, ""},
		{"ann", 0, []Op{set("c", "done", Bool(false))}, "reopened c of c prio 2"},
		{"bob", 0, []Op{comment("k", "@ann, (@eve) and @ann: a@b.c @ x")}, "commented k of c prio 2; mentioned k of c ann prio 2; mentioned k of c eve prio 2"},
		{"bob", 0, []Op{life(KindComment, "k", Deleted), life(KindComment, "k", Deleted)}, "uncommented k of c prio 2"},
		{"bob", 0, []Op{react(true)}, "reacted c/reaction/bob/👍 of c USER-ann prio 2"},
		{"bob", 0, []Op{react(true)}, ""},
		{"bob", 0, []Op{react(false)}, "unreacted c/reaction/bob/👍 of c USER-ann prio 2"},
		{"bob", 0, []Op{{Op: OpMark, ID: "c", Set: "label", Element: "red", Present: true}}, ""},
		{"ann", 0, []Op{life(KindCard, "c", Archived)}, ""},
		{"ann", 0, []Op{life(KindCard, "c", Deleted)}, "deleted c of c prio 2"},
		{"ann", 0, []Op{life(KindCard, "c", Live)}, "restored c of c prio 2"},
		{"ann", 0, []Op{put(KindCard, "c", "todo", "")}, ""}, // rejected
	} {
		out := b.do(step.client, step.back, 1000*b.head.Seq, step.ops...)
		deeds, err := Deeds(b.table, &out, func(client string) (string, error) { return "USER-" + client, nil })
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range deeds {
			text := fmt.Sprintf("%s %s of %s", d.Kind, d.ID, d.Card)
			if d.Whom != "" {
				text += " " + d.Whom
			}
			if d.Prio != 0 {
				text += fmt.Sprint(" prio ", d.Prio)
			}
			if d.Born == 0 {
				t.Errorf("%s: nobody knows when the card was made", text)
			}
			got = append(got, text)
		}
		if strings.Join(got, "; ") != step.want {
			t.Errorf("%+v: %q, want %q", step.ops, strings.Join(got, "; "), step.want)
		}
	}
}

func TestMentions(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, "@": nil, "x@y": nil, "@@": {"@"}, "@a @b\n@a": {"a", "b"}, "\"@a.b!\" [@c]": {"a.b", "c"}, "@" + strings.Repeat("x", maxUser+1): nil,
	} {
		if got := mentions(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	var all strings.Builder
	for i := range 2 * maxMentions {
		fmt.Fprintf(&all, "@u%d ", i)
	}
	if n := len(mentions(all.String())); n != maxMentions {
		t.Errorf("%d mentions", n)
	}
}
