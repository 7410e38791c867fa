package apicontext

// Parse is Load, and Encode Save, without the file.
var Parse, Encode = parse, (*Context).encode
