package page

import (
	"embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed page.tmpl page.css page.js live.js
var files embed.FS

// parse reads the page's template. Its styles and scripts are text of this package, so that they go in as they are.
func parse() (*template.Template, error) {
	read := func(name string) (string, error) {
		text, err := files.ReadFile(name)
		return string(text), err
	}
	return template.New("page.tmpl").Funcs(template.FuncMap{
		"style":  func(name string) (template.CSS, error) { s, err := read(name); return template.CSS(s), err },
		"script": func(name string) (template.JS, error) { s, err := read(name); return template.JS(s), err },
	}).ParseFS(files, "page.tmpl")
}

// Render writes the whole page. A live one renews itself from the server that it came from.
func (r *Recorder) Render(w io.Writer, live bool) error { return r.execute(w, "page", live) }

// Fragment writes what changes of a live page.
func (r *Recorder) Fragment(w io.Writer) error { return r.execute(w, "main", true) }

func (r *Recorder) execute(w io.Writer, name string, live bool) error {
	t, err := parse()
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	r.mu.Lock()
	v := r.view(live)
	r.mu.Unlock()
	if err := t.ExecuteTemplate(w, name, v); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	return nil
}
