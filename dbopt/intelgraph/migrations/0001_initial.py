"""Tables, constraints and indexes of the domain."""

import dbopt.intelgraph.models.fields
import django.contrib.postgres.fields
import django.contrib.postgres.fields.ranges
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.contrib.postgres.operations import BtreeGistExtension, TrigramExtension
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # Both are trusted extensions: the owner of the database may create them.
        TrigramExtension(),
        BtreeGistExtension(),
        migrations.CreateModel(
            name='Entity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('external_id', models.CharField(default=dbopt.intelgraph.models.fields.new_external_id, max_length=200)),
                ('type', models.CharField(max_length=64)),
                ('canonical_id', models.CharField(blank=True, max_length=200, null=True)),
                ('name', models.TextField(validators=[django.core.validators.MaxLengthValidator(500)])),
                ('confidence', models.FloatField(default=1.0)),
                ('props', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'verbose_name_plural': 'entities',
            },
        ),
        migrations.CreateModel(
            name='McpServer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('url', models.URLField(max_length=500)),
                ('is_enabled', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name='Pipeline',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.SlugField(db_index=False, max_length=100)),
                ('is_enabled', models.BooleanField(default=True)),
                ('next_run_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name='Tenant',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.SlugField(db_index=False, max_length=64)),
                ('name', models.CharField(blank=True, default='', max_length=200)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('slug',), name='uq_tenant_slug')],
            },
        ),
        migrations.CreateModel(
            name='Investigation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('external_id', models.CharField(default=dbopt.intelgraph.models.fields.new_external_id, max_length=200)),
                ('name', models.TextField()),
                ('status', models.CharField(default='open', max_length=32)),
                ('priority', models.SmallIntegerField(default=2)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('assigned_to', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='InvestigationEntity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('added_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('entity', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='intelgraph.entity')),
                ('investigation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='intelgraph.investigation')),
            ],
            options={
                'verbose_name_plural': 'investigation entities',
            },
        ),
        migrations.AddField(
            model_name='investigation',
            name='entities',
            field=models.ManyToManyField(related_name='investigations', through='intelgraph.InvestigationEntity', to='intelgraph.entity'),
        ),
        migrations.CreateModel(
            name='McpSession',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('token_hash', models.CharField(max_length=64)),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('server', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='sessions', to='intelgraph.mcpserver')),
            ],
        ),
        migrations.CreateModel(
            name='Source',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('type', models.CharField(max_length=64)),
                ('url', models.TextField()),
                ('title', models.TextField(blank=True, default='')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('entity', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='sources', to='intelgraph.entity')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='sources', to='intelgraph.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='Run',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('status', models.CharField(default='queued', max_length=16)),
                ('priority', models.SmallIntegerField(default=0)),
                ('idempotency_key', models.CharField(blank=True, max_length=100, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('heartbeat_at', models.DateTimeField(blank=True, null=True)),
                ('pipeline', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='runs', to='intelgraph.pipeline')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='runs', to='intelgraph.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='Relationship',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('external_id', models.CharField(default=dbopt.intelgraph.models.fields.new_external_id, max_length=200)),
                ('type', models.CharField(max_length=64)),
                ('confidence', models.FloatField(default=1.0)),
                ('weight', models.FloatField(blank=True, null=True)),
                ('valid_from', models.DateField(blank=True, null=True)),
                ('valid_to', models.DateField(blank=True, null=True)),
                ('props', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('source', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='outgoing', to='intelgraph.entity')),
                ('target', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='incoming', to='intelgraph.entity')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='relationships', to='intelgraph.tenant')),
            ],
        ),
        migrations.AddField(
            model_name='pipeline',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='pipelines', to='intelgraph.tenant'),
        ),
        migrations.CreateModel(
            name='Member',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(default='analyst', max_length=32)),
                ('email', models.EmailField(max_length=254)),
                ('is_active', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='members', to='intelgraph.tenant')),
            ],
        ),
        migrations.AddField(
            model_name='mcpserver',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='mcp_servers', to='intelgraph.tenant'),
        ),
        migrations.AddField(
            model_name='investigation',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='investigations', to='intelgraph.tenant'),
        ),
        migrations.AddField(
            model_name='entity',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='entities', to='intelgraph.tenant'),
        ),
        migrations.CreateModel(
            name='AuditLog',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('action', models.CharField(max_length=64)),
                ('object_type', models.CharField(max_length=64)),
                ('object_id', models.BigIntegerField()),
                ('data', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('actor', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='intelgraph.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='EntityEmbedding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('model', models.CharField(max_length=100)),
                ('vector', django.contrib.postgres.fields.ArrayField(base_field=models.FloatField(), size=None)),
                ('is_stale', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('entity', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='embeddings', to='intelgraph.entity')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('is_stale', True)), fields=['model', 'id'], name='idx_embed_stale')],
                'constraints': [models.UniqueConstraint(fields=('entity', 'model'), name='uq_embed_entity_model')],
            },
        ),
        migrations.AddIndex(
            model_name='investigationentity',
            index=models.Index(fields=['entity', 'investigation'], name='idx_inventity_entity_inv'),
        ),
        migrations.AddIndex(
            model_name='investigationentity',
            index=models.Index(models.F('investigation'), models.OrderBy(models.F('added_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='idx_inventity_inv_added'),
        ),
        migrations.AddConstraint(
            model_name='investigationentity',
            constraint=models.UniqueConstraint(fields=('investigation', 'entity'), name='uq_inv_entity'),
        ),
        migrations.AddIndex(
            model_name='mcpsession',
            index=models.Index(models.F('server'), models.OrderBy(models.F('started_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='idx_mcpsess_server_started'),
        ),
        migrations.AddIndex(
            model_name='mcpsession',
            index=models.Index(condition=models.Q(('ended_at__isnull', True)), fields=['started_at'], name='idx_mcpsess_active'),
        ),
        migrations.AddIndex(
            model_name='mcpsession',
            index=django.contrib.postgres.indexes.HashIndex(fields=['token_hash'], name='idx_mcpsess_token_hash'),
        ),
        migrations.AddIndex(
            model_name='source',
            index=django.contrib.postgres.indexes.HashIndex(fields=['url'], name='idx_source_url_hash'),
        ),
        migrations.AddIndex(
            model_name='source',
            index=models.Index(models.F('entity'), models.F('type'), models.OrderBy(models.F('id'), descending=True), name='idx_source_entity_type'),
        ),
        migrations.AddIndex(
            model_name='source',
            index=models.Index(models.F('tenant'), models.F('type'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='idx_source_tenant_type_created'),
        ),
        migrations.AddConstraint(
            model_name='source',
            constraint=models.UniqueConstraint(models.F('entity'), django.db.models.functions.text.MD5('url'), name='uq_source_entity_url'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(models.F('pipeline'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='idx_run_pipeline_created'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(models.F('tenant'), models.F('status'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='idx_run_tenant_status_created'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(models.OrderBy(models.F('priority'), descending=True), models.F('created_at'), models.F('id'), condition=models.Q(('status', 'queued')), name='idx_run_queue'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('status', 'running')), fields=['heartbeat_at'], name='idx_run_stale'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(condition=models.Q(('idempotency_key__isnull', False)), fields=('tenant', 'idempotency_key'), name='uq_run_idempotency_key'),
        ),
        migrations.AddIndex(
            model_name='relationship',
            index=models.Index(fields=['source', 'type', 'target', 'id'], name='idx_rel_source_type_target'),
        ),
        migrations.AddIndex(
            model_name='relationship',
            index=models.Index(fields=['target', 'type', 'source', 'id'], name='idx_rel_target_type_source'),
        ),
        migrations.AddIndex(
            model_name='relationship',
            index=models.Index(fields=['source', '-confidence'], include=('target', 'type'), name='idx_rel_source_conf'),
        ),
        migrations.AddIndex(
            model_name='relationship',
            index=models.Index(models.F('tenant'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='idx_rel_tenant_created'),
        ),
        migrations.AddIndex(
            model_name='relationship',
            index=models.Index(models.F('tenant'), models.F('type'), models.OrderBy(models.F('confidence'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('confidence__gte', 0.8)), name='idx_rel_tenant_type_conf'),
        ),
        migrations.AddIndex(
            model_name='relationship',
            index=django.contrib.postgres.indexes.GistIndex(models.F('tenant'), models.Func(models.F('valid_from'), models.Case(models.When(then=models.F('valid_from'), valid_to__lt=models.F('valid_from')), default=models.F('valid_to')), models.Value('[]'), function='daterange', output_field=django.contrib.postgres.fields.ranges.DateRangeField()), name='idx_rel_tenant_span'),
        ),
        migrations.AddIndex(
            model_name='relationship',
            index=django.contrib.postgres.indexes.GinIndex(fields=['props'], name='idx_rel_props', opclasses=['jsonb_path_ops']),
        ),
        migrations.AddConstraint(
            model_name='relationship',
            constraint=models.UniqueConstraint(fields=('tenant', 'external_id'), name='uq_rel_tenant_external'),
        ),
        migrations.AddConstraint(
            model_name='relationship',
            constraint=models.CheckConstraint(condition=models.Q(('confidence__gte', 0), ('confidence__lte', 1)), name='ck_rel_confidence', violation_error_message='confidence must lie between 0 and 1.'),
        ),
        migrations.AddIndex(
            model_name='pipeline',
            index=models.Index(condition=models.Q(('is_enabled', True)), fields=['next_run_at', 'id'], name='idx_pipeline_due'),
        ),
        migrations.AddConstraint(
            model_name='pipeline',
            constraint=models.UniqueConstraint(fields=('tenant', 'slug'), name='uq_pipeline_tenant_slug'),
        ),
        migrations.AddIndex(
            model_name='member',
            index=models.Index(django.db.models.functions.text.Upper('email'), name='idx_member_uemail'),
        ),
        migrations.AddIndex(
            model_name='member',
            index=models.Index(models.F('tenant'), models.F('role'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('is_active', True)), name='idx_member_tenant_role_created'),
        ),
        migrations.AddIndex(
            model_name='member',
            index=models.Index(fields=['user', 'tenant'], name='idx_member_user_tenant'),
        ),
        migrations.AddConstraint(
            model_name='member',
            constraint=models.UniqueConstraint(fields=('tenant', 'user'), name='uq_member_tenant_user'),
        ),
        migrations.AddConstraint(
            model_name='member',
            constraint=models.UniqueConstraint(models.F('tenant'), django.db.models.functions.text.Upper('email'), name='uq_member_tenant_email'),
        ),
        migrations.AddIndex(
            model_name='mcpserver',
            index=models.Index(condition=models.Q(('is_enabled', True)), fields=['id'], name='idx_mcpserver_enabled'),
        ),
        migrations.AddConstraint(
            model_name='mcpserver',
            constraint=models.UniqueConstraint(fields=('tenant', 'name'), name='uq_mcpserver_tenant_name'),
        ),
        migrations.AddIndex(
            model_name='investigation',
            index=models.Index(models.F('tenant'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='idx_inv_tenant_created'),
        ),
        migrations.AddIndex(
            model_name='investigation',
            index=models.Index(models.F('tenant'), models.F('status'), models.OrderBy(models.F('priority'), descending=True), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='idx_inv_tenant_status_prio'),
        ),
        migrations.AddIndex(
            model_name='investigation',
            index=models.Index(models.F('assigned_to'), models.OrderBy(models.F('priority'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('status__in', ('open', 'active'))), name='idx_inv_assignee_open'),
        ),
        migrations.AddIndex(
            model_name='investigation',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Upper('name'), name='gin_trgm_ops'), name='idx_inv_uname_trgm'),
        ),
        migrations.AddConstraint(
            model_name='investigation',
            constraint=models.UniqueConstraint(fields=('tenant', 'external_id'), name='uq_inv_tenant_external'),
        ),
        migrations.AddConstraint(
            model_name='investigation',
            constraint=models.CheckConstraint(condition=models.Q(('priority__gte', 1), ('priority__lte', 4)), name='ck_inv_priority', violation_error_message='priority must lie between 1 and 4.'),
        ),
        migrations.AddIndex(
            model_name='entity',
            index=models.Index(models.F('tenant'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='idx_entity_tenant_created'),
        ),
        migrations.AddIndex(
            model_name='entity',
            index=models.Index(models.F('tenant'), models.F('type'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='idx_entity_tenant_type_created'),
        ),
        migrations.AddIndex(
            model_name='entity',
            index=models.Index(models.F('tenant'), models.F('type'), models.OrderBy(models.F('confidence'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('confidence__gte', 0.8)), name='idx_entity_tenant_type_conf'),
        ),
        migrations.AddIndex(
            model_name='entity',
            index=models.Index(fields=['tenant', 'updated_at', 'id'], name='idx_entity_tenant_updated'),
        ),
        migrations.AddIndex(
            model_name='entity',
            index=models.Index(models.F('tenant'), django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Upper('name'), name='text_pattern_ops'), name='idx_entity_tenant_uname'),
        ),
        migrations.AddIndex(
            model_name='entity',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Upper('name'), name='gin_trgm_ops'), name='idx_entity_uname_trgm'),
        ),
        migrations.AddIndex(
            model_name='entity',
            index=django.contrib.postgres.indexes.GinIndex(fields=['props'], name='idx_entity_props', opclasses=['jsonb_path_ops']),
        ),
        migrations.AddIndex(
            model_name='entity',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.search.SearchVector('name', config='simple'), name='idx_entity_search'),
        ),
        migrations.AddConstraint(
            model_name='entity',
            constraint=models.UniqueConstraint(fields=('tenant', 'external_id'), name='uq_entity_tenant_external'),
        ),
        migrations.AddConstraint(
            model_name='entity',
            constraint=models.UniqueConstraint(condition=models.Q(('canonical_id__isnull', False)), fields=('tenant', 'type', 'canonical_id'), name='uq_entity_tenant_type_canon'),
        ),
        migrations.AddConstraint(
            model_name='entity',
            constraint=models.CheckConstraint(condition=models.Q(('confidence__gte', 0), ('confidence__lte', 1)), name='ck_entity_confidence', violation_error_message='confidence must lie between 0 and 1.'),
        ),
        migrations.AddIndex(
            model_name='auditlog',
            index=models.Index(models.F('tenant'), models.OrderBy(models.F('created_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='idx_audit_tenant_created'),
        ),
        migrations.AddIndex(
            model_name='auditlog',
            index=models.Index(models.F('object_type'), models.F('object_id'), models.OrderBy(models.F('created_at'), descending=True), name='idx_audit_object_created'),
        ),
        migrations.AddIndex(
            model_name='auditlog',
            index=models.Index(models.F('tenant'), models.F('actor'), models.OrderBy(models.F('created_at'), descending=True), name='idx_audit_tenant_actor_created'),
        ),
        migrations.AddIndex(
            model_name='auditlog',
            index=models.Index(models.F('tenant'), models.F('action'), models.OrderBy(models.F('created_at'), descending=True), name='idx_audit_ten_action_created'),
        ),
        migrations.AddIndex(
            model_name='auditlog',
            index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['created_at'], name='idx_audit_created_brin', pages_per_range=64),
        ),
    ]
