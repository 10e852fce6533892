-- What windows and nodes begin with that are new, but not unused: inherited (W4), or kept outside Redis (F3).

-- Makes a window start with at least `used`. `opened` { earliest, latest as in open_at }: when its owner's opened, if that is known.
local function seed(call, record, limit, used, opened)
  local window, timeline = window_for(call, record, limit)
  window.m = limit[LIMIT_AMOUNT]
  if not is_period(window) then
    if used > window.u + window.r then land(window, used - window.u - window.r, call.meta.now_ms) end
    return
  end
  if not timeline then
    timeline = new_window({ limit[1], limit[2], limit[3], 'A', limit[LIMIT_OWNER_KEY], limit[LIMIT_SPAN] })
    touch(call, window.o).w[window.k] = timeline
  end
  if not timeline.c then open_at(call, timeline, opened and opened[1] or call.meta.wall_ms, 0, opened and opened[2]) end
  if timeline ~= window then
    touch(call, window.o)
    follow_owner(window, timeline)
  end
  each_period(window, function(period)
    period.u = math.max(period.u, used - period.r)
    if not period.k then return end
    period.k = period.k + 1
    local start = math.max(call.meta.wall_ms, period.fl)
    period.lo, period.sl = period.lo or start, period.sl or start
    period.sf = math.max(period.sf or 0, call.meta.wall_ms)
  end)
end

-- What a checkpoint says was used before the memory was lost (rule F3).
local function remember_uses(call, nodes, remembered)
  for _, each in ipairs(call.fresh and remembered or {}) do
    local config = nodes[each[1]]
    for _, limit in ipairs(config and config[NODE_LIMITS] or {}) do
      if limit[LIMIT_NAME] == each[2] then
        local record = touch(call, each[1])
        local window = window_for(call, record, limit)
        local opened = each[5] >= 0 and { each[5], each[4] } or nil
        if window.t == 'A' and not window.c and opened then open_at(call, window, opened[1], 0, opened[2]) end
        if each[3] > 0 then seed(call, record, limit, each[3], opened) end
      end
    end
  end
end

-- And what was learnt: how far a node's rate was used ahead, and how many calls in flight the vendor bears.
local function remember_nodes(call, nodes, remembered)
  for _, each in ipairs(call.fresh and remembered or {}) do
    local config = nodes[each[1]]
    if config then
      local record, now_us = touch(call, each[1]), call.meta.now_us
      local a = each[3] >= 0 and adaptive_of(call, each[1], config, record)
      if a then a.c = clamp(each[3], config[NODE_MIN], config[NODE_CONCURRENCY]) end
      local interval, wait_us = interval_of(call, config, record), (each[2] - call.meta.wall_ms) * 1000
      if interval > 0 and wait_us > 0 then
        record.tat = math.max(record.tat or 0, now_us + math.min(wait_us, config[NODE_BURST] * interval))
        record.rt = interval
      end
    end
  end
end
