package config

// Parse is Load without the file.
var Parse = parse

// AccountKeys has every key of an account.
var AccountKeys = accountRules
