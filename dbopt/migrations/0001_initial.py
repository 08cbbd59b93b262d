"""Operational tables."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='GraphOutbox',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('alias', models.CharField(default='default', max_length=64)),
                ('tenant', models.CharField(blank=True, default='', max_length=64)),
                ('model', models.CharField(max_length=100)),
                ('object_pk', models.CharField(max_length=64)),
                ('operation', models.CharField(default='upsert', max_length=8)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('error', models.CharField(blank=True, default='', max_length=255)),
                ('is_dead', models.BooleanField(default=False)),
                ('next_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'verbose_name_plural': 'graph outbox',
                'indexes': [models.Index(condition=models.Q(('is_dead', False)), fields=['alias', 'next_at', 'id'], name='idx_outbox_due'), models.Index(fields=['model', 'object_pk', 'id'], name='idx_outbox_object'), models.Index(models.F('alias'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('is_dead', True)), name='idx_outbox_dead')],
            },
        ),
        migrations.CreateModel(
            name='QueryHistory',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('alias', models.CharField(max_length=64)),
                ('hour', models.DateTimeField()),
                ('fingerprint', models.CharField(max_length=16)),
                ('text', models.TextField()),
                ('origin', models.CharField(blank=True, default='', max_length=255)),
                ('calls', models.BigIntegerField(default=0)),
                ('slow', models.BigIntegerField(default=0)),
                ('errors', models.BigIntegerField(default=0)),
                ('total_seconds', models.FloatField(default=0.0)),
                ('max_seconds', models.FloatField(default=0.0)),
            ],
            options={
                'verbose_name_plural': 'query history',
                'permissions': [('view_monitor', 'Can view the database monitor')],
                'default_permissions': ('view',),
                'indexes': [models.Index(models.F('fingerprint'), models.OrderBy(models.F('hour'), descending=True), name='idx_queryhist_fp_hour'), models.Index(models.F('alias'), models.F('hour'), models.OrderBy(models.F('total_seconds'), descending=True), models.F('id'), name='idx_queryhist_alias_hour_total'), models.Index(fields=['hour'], name='idx_queryhist_hour')],
                'constraints': [models.UniqueConstraint(fields=('alias', 'hour', 'fingerprint'), name='uq_queryhist_alias_hour_fp')],
            },
        ),
    ]
