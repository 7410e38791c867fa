package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// problem is one thing that is wrong and what to do about it.
type problem struct {
	line    int
	message string
}

// problems collects what is wrong with a file.
type problems []problem

func (p *problems) report(line int, format string, args ...any) {
	*p = append(*p, problem{line, fmt.Sprintf(format, args...)})
}

// in returns an error that lists the problems in the order of the file, or nil if there are none.
func (p problems) in(file string) error {
	slices.SortFunc(p, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.message, b.message))
	})
	var list []error
	for _, one := range slices.Compact(p) { // each use of an alias has the problems of its anchor
		list = append(list, fmt.Errorf("%s:%d: %s", file, one.line, one.message))
	}
	return errors.Join(list...)
}

// decode returns the content of the file's document, or nil if the file is not valid YAML.
func (p *problems) decode(text []byte) *yaml.Node {
	reader := byteReader{bytes.NewReader(text)}
	decoder := yaml.NewDecoder(reader)
	document, second := yaml.Node{Content: []*yaml.Node{{Line: 1}}}, yaml.Node{} // the first is of an empty file
	err := decoder.Decode(&document)
	if err == nil {
		err = decoder.Decode(&second)
	}
	if err == nil {
		p.report(second.Line, "a second YAML document starts here; remove the line ---")
	} else if !errors.Is(err, io.EOF) {
		read := text[:max(0, len(text)-reader.Len()-1)] // without the last byte, which may be the end of the line
		p.reportSyntax(err, 1+bytes.Count(read, []byte("\n")))
		return nil
	}
	return document.Content[0]
}

// byteReader reads one byte at a time, to show where the parser stops. The line in its errors may be that of a list.
type byteReader struct{ *bytes.Reader }

func (r byteReader) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }

// parserError matches the parser's errors.
var parserError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// reportSyntax reports an error of the parser, which stopped in the given line.
func (p *problems) reportSyntax(err error, line int) {
	match := parserError.FindStringSubmatch(err.Error())
	cause := match[2]
	if strings.HasPrefix(cause, "unknown anchor") { // quotes a value
		cause = "a value that begins with * needs quotes"
	} else if start, err := strconv.Atoi(match[1]); err == nil && cause == "found unexpected end of stream" {
		line, cause = start, "a quote is not closed"
	}
	p.report(line, "invalid YAML in this line or just before it: %s", cause)
}

// isNull reports whether a value is null, such as that of a key with nothing after it.
func isNull(n *yaml.Node) bool { return n.Tag == "!!null" && n.Style&yaml.TaggedStyle == 0 }

// target returns what an alias refers to, and other nodes as they are.
func target(n *yaml.Node) *yaml.Node { return cmp.Or(n.Alias, n) }

// mapping is a mapping in the file, with the rules of its keys.
type mapping struct {
	*problems
	line   int
	rules  map[string]rule
	values map[string]*yaml.Node // of the keys that are set and not null
}

// word matches a key that cannot be a secret in a wrong place.
var word = regexp.MustCompile(`^[A-Za-z_-]{1,30}$`)

// keyLike matches text that has an API key in it, and no usual name of a file.
var keyLike = regexp.MustCompile(`[0-9A-Za-z]{32}`)

// mapping reads a mapping and reports what is wrong with its keys. The library's strict decoding would compare each
// key with each other, ignore null keys, and report nothing else in a mapping where a key is set twice.
func (p *problems) mapping(n *yaml.Node, rules map[string]rule) mapping {
	n = target(n)
	m := mapping{p, n.Line, rules, make(map[string]*yaml.Node)}
	if n.Kind != yaml.MappingNode {
		p.report(n.Line, "keys with values are expected here; see config.yml.example")
		return m
	}
	lines := make(map[string]int)
	for pair := range slices.Chunk(n.Content, 2) {
		key, value := pair[0], target(pair[1])
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			p.report(key.Line, "a key must be text; see config.yml.example for all keys")
		} else if _, known := rules[key.Value]; !known {
			name := cmp.Or(word.FindString(key.Value), "(not shown)")
			p.report(key.Line, "unknown key %s; see config.yml.example for all keys", name)
		} else if first := lines[key.Value]; first > 0 {
			p.report(key.Line, "this key is already set in line %d; remove one of them", first)
		} else if lines[key.Value] = key.Line; !isNull(value) {
			m.values[key.Value] = value
		}
	}
	for key, r := range rules {
		if r.required && m.values[key] == nil {
			p.report(n.Line, "%s is missing; %s", key, r.advice)
		}
	}
	return m
}

// text returns the value of a key, or "" if it is not set or not valid.
func (m mapping) text(key string) string { return m.check(key, m.values[key]) }

// list returns the items of a key's list.
func (m mapping) list(key string) []*yaml.Node {
	n, r := m.values[key], m.rules[key]
	if n != nil && n.Kind == yaml.SequenceNode && (len(n.Content) > 0 || !r.required) {
		return n.Content
	}
	if n != nil {
		m.report(n.Line, "%s must be a list with at least one item; %s", key, r.advice)
	}
	return nil
}

// check returns a value of a key or an item of its list, or "" if it is not valid.
func (m mapping) check(key string, n *yaml.Node) string {
	if n == nil {
		return ""
	}
	r, n := m.rules[key], target(n)
	if n.Kind == yaml.ScalarNode && n.Style&yaml.TaggedStyle == 0 && r.valid(n.Value) {
		return n.Value
	}
	m.report(n.Line, "%s%s is %s; %s", key, quote(key, n), r.fault, r.advice)
	return ""
}

// unique reports a value that is already in lines. An alias may have a line of an earlier mapping.
func (m mapping) unique(lines map[string]int, key string, n *yaml.Node, value string) {
	line := max(n.Line, m.line)
	if first := lines[value]; first > 0 {
		m.report(line, "%s%s is already used in line %d; change or remove one of them", key, quote(key, n), first)
	} else {
		lines[value] = line
	}
}

// quote returns the value of a key for a message, or "" if it may be a secret.
func quote(key string, n *yaml.Node) string {
	if key == "api_key" || key == "base_url" || n.Kind != yaml.ScalarNode || keyLike.MatchString(n.Value) {
		return ""
	}
	return fmt.Sprintf(" %.60q", n.Value)
}
