// Command dump does what dump.py does, with the Go parser: dump FIELDS IMAGE. The format is described there.
//
// Go has no null: what an `if` leaves out is 0, "", false or an empty array, and only an object is none.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/adler32"
	"os"
	"reflect"
	"strings"

	"example/dump/vhdx"

	"github.com/kaitai-io/kaitai_struct_go_runtime/kaitai"
)

//go:generate mkdir -p vhdx
//go:generate cp ../../../../generated/go/vhdx.go vhdx/

type failed string // a value cannot be had; its path

type dump struct {
	fields map[string][]string
	image  []byte
	failed map[failed]bool
	lines  []string
}

func main() {
	d := dump{fields: map[string][]string{}, failed: map[failed]bool{}}
	for _, line := range strings.Split(strings.TrimSpace(string(must(os.ReadFile(os.Args[1])))), "\n") {
		words := strings.Fields(line)
		d.fields[pascal(words[0])] = append(d.fields[pascal(words[0])], words[1])
	}
	d.image = must(os.ReadFile(os.Args[2]))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, name := range d.fields["Vhdx"] {
		for !d.try(name) {
		}
		for _, line := range d.lines {
			fmt.Fprintln(out, line)
		}
	}
}

// try dumps a field of the file, of a new object; false if there is one more value that cannot be had.
func (d *dump) try(name string) (ok bool) {
	defer func() {
		if problem := recover(); problem != nil {
			d.failed[problem.(failed)] = true
		}
	}()
	d.lines = nil
	root := vhdx.NewVhdx()
	if err := root.Read(kaitai.NewStream(bytes.NewReader(d.image)), nil, root); err != nil {
		panic(err)
	}
	d.field(reflect.ValueOf(root), name, "")
	return true
}

func (d *dump) field(owner reflect.Value, name, where string) {
	path := where + "/" + name
	if d.failed[failed(path)] {
		d.lines = append(d.lines, path+" error")
		return
	}
	d.value(get(owner, pascal(name), path), path)
}

func get(owner reflect.Value, name, path string) reflect.Value {
	defer func() {
		if problem := recover(); problem != nil { // where something else has failed before, null is used
			panic(failed(path))
		}
	}()
	method := owner.MethodByName(name)
	if !method.IsValid() {
		return owner.Elem().FieldByName(name)
	}
	results := method.Call(nil)
	if !results[1].IsNil() {
		panic(results[1].Interface())
	}
	return results[0]
}

func (d *dump) value(value reflect.Value, path string) {
	if value.Kind() == reflect.Interface {
		value = value.Elem()
	}
	switch {
	case !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil():
		d.lines = append(d.lines, path+" none")
	case value.Kind() == reflect.Pointer:
		for _, name := range d.fields[strings.TrimPrefix(value.Elem().Type().Name(), "Vhdx_")] {
			d.field(value, name, path)
		}
	case value.Kind() == reflect.Slice && value.Type().Elem().Kind() != reflect.Uint8:
		d.lines = append(d.lines, fmt.Sprintf("%s = %d items", path, value.Len()))
		for i := 0; i < value.Len(); i++ {
			if value.Len() > 5000 && i == 4 {
				i = value.Len() - 4
			}
			d.value(value.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		d.lines = append(d.lines, path+" = "+plain(value))
	}
}

func plain(value reflect.Value) string {
	switch value.Kind() {
	case reflect.Slice:
		if value.Len() > 64 {
			return fmt.Sprintf("%d bytes %d", value.Len(), adler32.Checksum(value.Bytes()))
		}
		return fmt.Sprintf("%d bytes %s", value.Len(), hex.EncodeToString(value.Bytes()))
	case reflect.String:
		text := strings.Builder{}
		for _, c := range value.String() {
			if c >= ' ' && c <= '~' && c != '"' && c != '\\' {
				text.WriteRune(c)
			} else {
				fmt.Fprintf(&text, `\u{%x}`, c)
			}
		}
		return `"` + text.String() + `"`
	default:
		return fmt.Sprint(value.Interface())
	}
}

func pascal(name string) string {
	text := strings.Builder{}
	for _, word := range strings.Split(name, "_") {
		text.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return text.String()
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
