package page

import (
	"bufio"
	"errors"
	"fmt"
	"os"

	"github.com/millracehq/millrace/loadtest"
)

// File is the output html=FILE: the page of the run, written when it is over.
type File struct {
	Recorder
	file *os.File
}

// NewFile opens the file, so that a name that cannot be written to is told before the run.
func NewFile(name string) (*File, error) {
	if name == "" {
		return nil, errors.New("--out html wants a file: --out html=FILE")
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return &File{file: f}, nil
}

// Stop implements loadtest.Output. A run that could not start has no page: the file stays empty.
func (f *File) Stop(rep *loadtest.Report) error {
	err := f.Recorder.Stop(rep)
	if rep != nil {
		w := bufio.NewWriter(f.file)
		err = errors.Join(err, f.Render(w, false), w.Flush())
	}
	if err = errors.Join(err, f.file.Close()); err != nil {
		return fmt.Errorf("--out html: %w", err)
	}
	return nil
}
