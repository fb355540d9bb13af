# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_bdaemonctl_global_optspecs
    string join \n c/config= s/socket= json V/version h/help
end

function __fish_bdaemonctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_bdaemonctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_bdaemonctl_using_subcommand
    set -l cmd (__fish_bdaemonctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -s V -l version -d 'Print the version'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -s h -l help -d 'Print help'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "send" -d 'Write a record, or each line of standard input as one'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "count" -d 'Send numbers, one every few seconds, and print each'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "status" -d 'Show how the daemon, its pipes and its targets are'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "stats" -d 'Print the counters'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "tail" -d 'Show the last records that passed through, and with -f those that come'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "top" -d 'Show rates, backlog and trouble as they change; q quits'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "log-level" -d 'Show or set the level of bdaemon\'s own messages, until the next reload'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "reload" -d 'Read the configuration again, and open the targets again'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "reopen" -d 'Open the targets again, after a rotation'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "stop" -d 'Deliver what is left, end the daemon, and wait for that'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "check" -d 'Check a configuration and print it as understood'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "completions" -d 'Print completions for a shell'
complete -c bdaemonctl -n "__fish_bdaemonctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand send" -s p -l priority -d 'The priority: a severity, or FACILITY.SEVERITY, or a number from 0 to 191' -r
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand send" -s n -l pipe -d 'The pipe to write to [default: the first one]' -r
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand send" -l timeout -d 'How long a record may wait for the pipe, or with --wait for delivery [default: for ever]' -r
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand send" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand send" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand send" -l wait -d 'Return only when the daemon has delivered everything'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand send" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand send" -s h -l help -d 'Print help'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand count" -l from -d 'The first number' -r
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand count" -l to -d 'The last number' -r
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand count" -l interval -d 'The time between two numbers' -r
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand count" -s n -l pipe -d 'The pipe to write to [default: the first one]' -r
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand count" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand count" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand count" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand count" -s h -l help -d 'Print help'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand status" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand status" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand status" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand stats" -l format -d 'The form of the output' -r -f -a "text\t'A counter a line'
json\t'One JSON object'
prometheus\t'The Prometheus text exposition format, for the textfile collector of its node exporter'"
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand stats" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand stats" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand stats" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand tail" -s n -l lines -d 'How many of the last records' -r
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand tail" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand tail" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand tail" -s f -l follow -d 'Go on with the records that come'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand tail" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand tail" -s h -l help -d 'Print help'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand top" -s i -l interval -d 'The time between two looks' -r
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand top" -s n -l count -d 'End after this many looks [default: never]' -r
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand top" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand top" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand top" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand top" -s h -l help -d 'Print help'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand log-level" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand log-level" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand log-level" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand log-level" -s h -l help -d 'Print help'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand reload" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand reload" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand reload" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand reload" -s h -l help -d 'Print help'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand reopen" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand reopen" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand reopen" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand reopen" -s h -l help -d 'Print help'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand stop" -l timeout -d 'The longest that the delivery may take, in place of the configured time' -r
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand stop" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand stop" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand stop" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand stop" -s h -l help -d 'Print help'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand check" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand check" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand check" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand check" -s h -l help -d 'Print help'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand completions" -s c -l config -d 'The configuration, in which pipes and the socket are looked up [default: /usr/local/etc/bdaemon.toml, and built-in values where there is none]' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand completions" -s s -l socket -d 'The control socket, in place of the configured one' -r -F
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand completions" -l json -d 'Print data as JSON'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "send" -d 'Write a record, or each line of standard input as one'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "count" -d 'Send numbers, one every few seconds, and print each'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "status" -d 'Show how the daemon, its pipes and its targets are'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "stats" -d 'Print the counters'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "tail" -d 'Show the last records that passed through, and with -f those that come'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "top" -d 'Show rates, backlog and trouble as they change; q quits'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "log-level" -d 'Show or set the level of bdaemon\'s own messages, until the next reload'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "reload" -d 'Read the configuration again, and open the targets again'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "reopen" -d 'Open the targets again, after a rotation'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "stop" -d 'Deliver what is left, end the daemon, and wait for that'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "check" -d 'Check a configuration and print it as understood'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "completions" -d 'Print completions for a shell'
complete -c bdaemonctl -n "__fish_bdaemonctl_using_subcommand help; and not __fish_seen_subcommand_from send count status stats tail top log-level reload reopen stop check completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
