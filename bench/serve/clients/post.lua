-- wrk sends one fixed request: it is formatted once, so Lua costs nothing per request.
-- Arguments behind `--`: the body's file, then "Name: value" headers.
function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  file:close()
  for i = 2, #args do
    local name, value = args[i]:match("^([^:]+):%s*(.*)$")
    wrk.headers[name] = value
  end
end
