import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { composeStartupScript, originalStartupScript } from '../../../shared/gcp/deliver/startup-script';

const seed = readFileSync('dist/gcp/startup-script.sh', 'utf8');

test.each(['', '#!/bin/sh\necho theirs\n', '#!/usr/bin/python3\nprint(1)'])(
  "the startup script that Terraform writes to a project's metadata contains the project's own script %j, as an instance's does",
  (theirs) => {
    expect(originalStartupScript(seed + theirs)).toBe(theirs);
    expect(composeStartupScript(seed + theirs)).toBe(seed + theirs);
  },
);
