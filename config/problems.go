package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is everything that is wrong with a configuration file.
type Error struct {
	File     string // as it was given to [Load]
	Problems []Problem
}

// Problem is one thing that is wrong, and what to do about it.
type Problem struct {
	Line    int // from 1; 0 means the file as a whole
	Message string
}

// Error returns one line for each problem, in the order of the file: FILE:LINE: message.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		if p.Line == 0 {
			lines[i] = fmt.Sprintf("%s: %s", e.File, p.Message)
			continue
		}
		lines[i] = fmt.Sprintf("%s:%d: %s", e.File, p.Line, p.Message)
	}
	return strings.Join(lines, "\n")
}

// checker gathers the problems of one file.
type checker struct {
	folder       string // of the file, which relative paths start from
	problems     []Problem
	names        map[string]int // the line of each account's name
	contextFiles map[string]int // the line of each account's context file, which is absolute here
}

// report notes a problem. Its arguments must not be values of the file.
func (c *checker) report(line int, format string, args ...any) {
	c.problems = append(c.problems, Problem{line, fmt.Sprintf(format, args...)})
}

// sorted returns the problems in the order of the file.
func (c *checker) sorted() []Problem {
	slices.SortStableFunc(c.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return slices.Compact(c.problems) // what an alias repeats is wrong once
}

// taken tells whether a value was seen before, and in which line first. Otherwise it notes the value.
func taken[V comparable](seen map[V]int, value V, line int) (first int, ok bool) {
	if first, ok = seen[value]; !ok {
		seen[value] = line
	}
	return first, ok
}
