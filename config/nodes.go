package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// key is a key that a mapping of the file may have.
type key struct {
	name     string
	required bool
	advice   string // what to do where the value is missing, empty or of the wrong kind
}

// entry is a key with its value, which is nil if it was left out.
type entry struct {
	key
	value *yaml.Node
}

// content returns what is in the file, or nil after it has reported that there is nothing to be read.
func (c *checker) content(text []byte) *yaml.Node {
	all, err := documents(text)
	switch {
	case err != nil:
		c.report(firstUnreadable(text), "no valid YAML from here on; look for tabs, wrong indentation, missing colons, "+
			"brackets or quotes (a value that begins with * or @ needs them)")
		return nil
	case len(all) == 0 || isNull(all[0].Content[0]):
		c.report(1, "the file is empty; copy config.yml.example to begin with")
		return nil
	case len(all) > 1:
		c.report(all[1].Line, "a second YAML document begins here; put all accounts into one, without a line of ---")
	}
	return all[0].Content[0]
}

func documents(text []byte) (all []*yaml.Node, err error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, &document)
	}
}

// firstUnreadable returns the line after the longest beginning of the text that is YAML. The parser's own errors often
// name the line where the enclosing list or mapping begins, the one before that, or none; and one of them quotes.
func firstUnreadable(text []byte) int {
	for end := len(text); end >= 0; end = bytes.LastIndexByte(text[:end], '\n') {
		if _, err := documents(text[:end]); err == nil {
			return bytes.Count(text[:end], []byte("\n")) + 2
		}
	}
	return 1
}

// mapping returns the entries of a mapping, of which where names the place. It reports a value that is no mapping (and
// returns nil), unknown keys, keys that are there twice and required keys that are missing; null counts as left out.
func (c *checker) mapping(n *yaml.Node, where string, keys []key) map[string]entry {
	names := make([]string, len(keys))
	entries := make(map[string]entry, len(keys))
	for i, k := range keys {
		names[i] = k.name
		entries[k.name] = entry{key: k}
	}
	known := strings.Join(names, ", ")
	if n.Kind != yaml.MappingNode {
		c.report(n.Line, "%s must be a mapping, that is, lines of key: value; known keys: %s", where, known)
		return nil
	}
	seen := make(map[string]int)
	for i := 0; i < len(n.Content); i += 2 {
		name, value := resolve(n.Content[i]), resolve(n.Content[i+1])
		e, ok := entries[name.Value]
		if !ok {
			c.report(name.Line, "unknown key%s in %s; known keys: %s", quoted(name.Value), where, known)
		} else if first, ok := taken(seen, e.name, name.Line); ok {
			c.report(name.Line, "line %d has %s already; keep one of the two", first, e.name)
		} else if !isNull(value) {
			e.value = value
			entries[e.name] = e
		}
	}
	for _, k := range keys {
		if k.required && entries[k.name].value == nil {
			c.report(n.Line, "%s is missing; %s", k.name, k.advice)
		}
	}
	return entries
}

// word matches what a person writes as a key, and no API key: those have digits.
var word = regexp.MustCompile(`^[A-Za-z_-]{1,30}$`)

// quoted returns a key of the file in quotes, or nothing where it could be a secret in the wrong place.
func quoted(name string) string {
	if !word.MatchString(name) {
		return ""
	}
	return " " + strconv.Quote(name)
}

// text returns the entry's text, or "" if it was left out or is no text, which is reported.
func (c *checker) text(e entry) string {
	switch {
	case e.value == nil:
	case e.value.Kind != yaml.ScalarNode:
		c.report(e.value.Line, "%s must be a single text, not a list or a mapping", e.name)
	case e.value.ShortTag() != "!!str":
		c.report(e.value.Line, "%s must be text; put it in quotes", e.name)
	case strings.TrimSpace(e.value.Value) == "":
		c.report(e.value.Line, "%s is empty; %s", e.name, e.advice)
	default:
		return e.value.Value
	}
	return ""
}

// list returns the entry's items; a value that is no list is reported, and an empty list where one is required.
func (c *checker) list(e entry) []*yaml.Node {
	if e.value == nil {
		return nil
	}
	if e.value.Kind != yaml.SequenceNode {
		c.report(e.value.Line, "%s must be a list; %s", e.name, e.advice)
		return nil
	}
	if e.required && len(e.value.Content) == 0 {
		c.report(e.value.Line, "%s is empty; %s", e.name, e.advice)
	}
	items := make([]*yaml.Node, len(e.value.Content))
	for i, n := range e.value.Content {
		items[i] = resolve(n)
	}
	return items
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// resolve returns what an alias stands for, in the alias's line, and any other node as it is.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.AliasNode {
		return n
	}
	target := *n.Alias
	target.Line = n.Line
	return &target
}
