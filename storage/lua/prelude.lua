-- Shared by every script, which is loaded with this text in front. In the scripts of jobs KEYS[1] is the job's hash,
-- whose fields storage/jobs/fields.py lists, and KEYS[2] its event stream.

local EVENTS_KEPT = 10000
-- What is to be looked at when: leases by their ends, deadlines of what was begun, accepts without a record.
local WATCH = 'aether:watch'
-- What waits for a time of its own, by that time; and jobs that have not begun, by when they are given up.
local DEFERRED, EXPIRING = 'aether:deferred', 'aether:expiring'

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Say whether new jobs are refused and waiting ones left where they are; storage/jobs/drain.py sets the mark.
local function is_draining()
  return redis.call('EXISTS', 'aether:drain') == 1
end

-- Write a whole number without an exponent: Lua's own text of 10^14 is 1e+14.
local function whole(number)
  return string.format('%.0f', number)
end

-- Fail when a key is of another type than the one it stands under; missing keys are fine.
local function check_types(keys_by_type)
  for expected, keys in pairs(keys_by_type) do
    for _, key in ipairs(keys) do
      local type = redis.call('TYPE', key)['ok']
      if type ~= 'none' and type ~= expected then
        error('WRONGTYPE ' .. key .. ' is a ' .. type .. ', not a ' .. expected)
      end
    end
  end
end

-- A job that several agents answer has slots, one for each piece of its work. The job itself is the slot ''; the
-- fields of a slot begin with its name.
local function field(slot, name)
  return slot == '' and name or slot .. ':' .. name
end

-- Name a unit of work as indexes and lines do: a job, or one slot of it.
local function unit_of(job_id, slot)
  return slot == '' and job_id or job_id .. '/' .. slot
end

local function split_unit(unit)
  local job_id, slot = string.match(unit, '^([^/]+)/?(.*)$')
  return job_id, slot
end

local function slots_of_job()
  local names = {}
  for name in string.gmatch(redis.call('HGET', KEYS[1], 'slots') or '', '%S+') do
    names[#names + 1] = name
  end
  return names
end

local function is_running(slot, now)
  local state = redis.call('HMGET', KEYS[1], field(slot, 'state'), field(slot, 'lease'))
  return state[1] == 'running' and tonumber(state[2]) > now
end

-- Count the slots that live workers hold.
local function count_running(now)
  local count = 0
  for _, slot in ipairs(slots_of_job()) do
    if is_running(slot, now) then
      count = count + 1
    end
  end
  return count
end

local function is_cancelled()
  return redis.call('HEXISTS', KEYS[1], 'cancel') == 1
end

-- Say whether the fence is that of the current attempt at the job or slot.
local function holds(slot, fence)
  local state = redis.call('HMGET', KEYS[1], 'status', field(slot, 'fence'))
  return state[1] == 'in_progress' and state[2] == fence
end

-- Add what model calls used to the job's account. The script that ends the job adds its caller's own calls to it.
local function add_used(input, cached, output, micros)
  redis.call('HINCRBY', KEYS[1], 'used_input', input)
  redis.call('HINCRBY', KEYS[1], 'used_cached', cached)
  redis.call('HINCRBY', KEYS[1], 'used_output', output)
  redis.call('HINCRBY', KEYS[1], 'used_micros', micros)
end

local unpublished = {}

-- Give an event the job's next number and keep it; `publish` sends it to the listeners.
local function append_event(job_id, type, at, data)
  local sequence = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  local body = '{"sequence":' .. sequence .. ',"type":"' .. type .. '","job_id":"' .. job_id
    .. '","at":"' .. at .. '","data":' .. data .. '}'
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', EVENTS_KEPT, sequence .. '-0', 't', type, 'b', body)
  unpublished[#unpublished + 1] = sequence .. ' ' .. type .. ' ' .. body
end

-- Publish what was appended as one message, a line an event: each message costs every listener.
local function publish()
  if #unpublished > 0 then
    redis.call('PUBLISH', KEYS[2], table.concat(unpublished, '\n'))
  end
end

-- Return an event's data (JSON) with the attempt's number, for which Python wrote 0: only the script knows it.
local function with_attempt(data, attempt)
  return (string.gsub(data, '"attempt":0', '"attempt":' .. attempt, 1))
end

-- Append the (type, data) pairs of ARGV from `first` to `last`.
local function append_pairs(job_id, at, first, last)
  for i = first, last, 2 do
    local type, data = ARGV[i], ARGV[i + 1]
    append_event(job_id, type, at, data)
  end
end

-- Append the pairs of ARGV from `first` on. The first `count` of them are batch `number` of the job or slot, which was
-- sent before without an answer: it is left out where it had arrived after all. Number 0 was never sent.
local function append_after_unsure(job_id, slot, at, number, count, first)
  if tonumber(number) > 0 and tonumber(redis.call('HGET', KEYS[1], field(slot, 'batch')) or 0) >= tonumber(number) then
    first = first + 2 * count
  end
  append_pairs(job_id, at, first, #ARGV)
end

-- End the job: keep its outcome (JSON) and totals, and append the terminal event, whose data (JSON without its closing
-- brace) gets usage and cost.
local function write_end(job_id, at, status, outcome, finished, type, data, totals)
  redis.call('HSET', KEYS[1], 'status', status, 'outcome', outcome, 'finished', finished,
    'total_input', whole(totals.input), 'total_cached', whole(totals.cached), 'total_output', whole(totals.output),
    'total_micros', whole(totals.micros))
  local usage = '{"input_tokens":' .. whole(totals.input) .. ',"cached_input_tokens":' .. whole(totals.cached)
    .. ',"output_tokens":' .. whole(totals.output) .. ',"total_tokens":' .. whole(totals.input + totals.output) .. '}'
  local cost = string.format('%.6f', totals.micros / 1000000)
  append_event(job_id, type, at, data .. ',"usage":' .. usage .. ',"cost_usd":' .. cost .. '}')
end

-- Return the answer to a repeated Idempotency-Key, nil for a new one or none.
local function check_repeat(key, body_hash)
  local seen = body_hash ~= '' and redis.call('GET', key)
  if not seen then
    return nil
  end
  local split = string.find(seen, ':', 1, true)
  if string.sub(seen, 1, split - 1) == body_hash then
    return {'repeat', string.sub(seen, split + 1)}
  end
  return {'conflict'}
end

-- A job counts as unfinished as often as it makes model calls at a time: as itself, and as <job>#2, <job>#3 and so on.
local function count_as_active(active, job_id, units, now)
  redis.call('ZADD', active, now, job_id)
  for number = 2, tonumber(units) do
    redis.call('ZADD', active, now, job_id .. '#' .. number)
  end
end

local function forget_active(active, job_id)
  redis.call('ZREM', active, job_id)
  for number = 2, tonumber(redis.call('HGET', KEYS[1], 'units') or 1) do
    redis.call('ZREM', active, job_id .. '#' .. number)
  end
end

-- Say whether the user has room for so many units beside what is unfinished. Where he has not, what the version before
-- left behind of teams that ended is removed first; it is among the oldest.
local function has_units_left(active, units, most)
  if redis.call('ZCARD', active) + units <= most then
    return true
  end
  for _, unit in ipairs(redis.call('ZRANGE', active, 0, 19)) do
    local job_id = string.match(unit, '^(.-)#') or unit
    local status = redis.call('HGET', 'aether:{' .. string.sub(job_id, 5, 5) .. '}:job:' .. job_id, 'status')
    if status ~= 'queued' and status ~= 'in_progress' then
      redis.call('ZREM', active, unit)
    end
  end
  return redis.call('ZCARD', active) + units <= most
end

local function remember_repeat(key, body_hash, job_id, ttl_s)
  if body_hash ~= '' then
    redis.call('SET', key, body_hash .. ':' .. job_id, 'EX', ttl_s)
  end
end
