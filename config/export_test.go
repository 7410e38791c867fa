package config

// Parse is Load without the file.
var Parse = parse

// AccountKeys returns every key that an account may have.
func AccountKeys() []string {
	names := make([]string, len(accountKeys))
	for i, k := range accountKeys {
		names[i] = k.name
	}
	return names
}
