// Package completion is the scripts that make shells complete drummer-cmd's words: each
// asks the program itself what may come next.
package completion

const bashCompletion = `# drummer-cmd completion for bash: source <(drummer-cmd completion bash)
_drummer_cmd() {
  local IFS=$'\n'
  COMPREPLY=($(drummer-cmd __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o nosort -o default -F _drummer_cmd drummer-cmd
`

const zshCompletion = `#compdef drummer-cmd
# drummer-cmd completion for zsh: source <(drummer-cmd completion zsh)
_drummer_cmd() {
  local -a found
  found=("${(@f)$(drummer-cmd __complete -- "${words[@]:1:$((CURRENT-1))}" 2>/dev/null)}")
  [[ -n "$found" ]] && compadd -a found || _files
}
compdef _drummer_cmd drummer-cmd
`

const fishCompletion = `# drummer-cmd completion for fish: drummer-cmd completion fish | source
function __drummer_cmd
  set -l words (commandline -opc)[2..-1] (commandline -ct)
  drummer-cmd __complete -- $words 2>/dev/null
end
complete -c drummer-cmd -a '(__drummer_cmd)'
`

// Script returns the script for a shell.
func Script(shell string) (text string, ok bool) {
	text, ok = map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[shell]
	return text, ok
}
