import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { composeStartupScript, originalStartupScript } from '../../../shared/gcp/deliver/startup-script';

const seed = readFileSync('dist/gcp/startup-script.sh', 'utf8');

test.each(['', '#!/bin/sh\necho theirs\n', '#!/usr/bin/python3\nprint(1)'])(
  "the startup script in a project's metadata keeps the project's own script %j, like an instance's startup script",
  (theirs) => {
    expect(originalStartupScript(seed + theirs)).toBe(theirs);
    expect(composeStartupScript(seed + theirs)).toBe(seed + theirs);
  },
);
