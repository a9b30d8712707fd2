-- Shared by every job script, which is loaded with this text in front.
-- By convention KEYS[1] is the job's hash and KEYS[2] its event stream.

local EVENTS_KEPT = 10000

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local published = {}

-- Give an event the job's next number and keep it; `tell` tells those who listen.
local function append_event(job_id, type, at, data)
  local sequence = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  local body = '{"sequence":' .. sequence .. ',"type":"' .. type .. '","job_id":"' .. job_id
    .. '","at":"' .. at .. '","data":' .. data .. '}'
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', EVENTS_KEPT, sequence .. '-0', 't', type, 'b', body)
  published[#published + 1] = sequence .. ' ' .. type .. ' ' .. body
end

-- Publish what was appended as one message, a line an event: each message costs every listener.
local function tell()
  redis.call('PUBLISH', KEYS[2], table.concat(published, '\n'))
end

-- Append the (type, data) pairs that ARGV holds from `first` on.
local function append_pairs(job_id, at, first)
  for i = first, #ARGV, 2 do
    append_event(job_id, ARGV[i], at, ARGV[i + 1])
  end
end

-- Append pairs of which the first `count` are batch `number`, sent before without an answer: they
-- are left out if they had arrived after all.
local function append_after_unsure(job_id, at, number, count, first)
  if number > 0 and tonumber(redis.call('HGET', KEYS[1], 'batch') or 0) >= number then
    first = first + 2 * count
  end
  append_pairs(job_id, at, first)
end

local function holds(fence)
  local state = redis.call('HMGET', KEYS[1], 'status', 'fence')
  return state[1] == 'in_progress' and state[2] == fence
end
