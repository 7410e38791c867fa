package config

import "os"

// writable returns an error if the folder does not exist. Whether the program may create files in it is not checked on
// Windows, where file modes do not tell.
func writable(folder string) error {
	_, err := os.Stat(folder)
	return err
}
